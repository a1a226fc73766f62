#!/bin/sh
# Counts how often it is told to, in the way that $1 names, and notes in the
# file $2 what it prints. Its lines have no time.
n=0
say() {
	n=$((n + 1))
	line=$(printf 'counter,by=sh,signal=%s n=%di,text="row one\nrow \\"%d\\", größe = \\\\ 日本 "' "$mode" "$n" "$n")
	printf "%s\n" "$line" >>"$2"
	printf "%s\n" "$line"
}
mode=$1
case $mode in
none) while :; do
	say "$@"
	sleep 0.4
done ;;
STDIN) while read -r _; do say "$@"; done ;;
SIG*)
	trap 'say "$@"' "${mode#SIG}"
	while :; do sleep 0.02; done
	;;
esac
