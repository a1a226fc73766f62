#!/bin/sh
# Kept running by [[inputs.execd]]: prints a line for each that it reads. What
# it writes to standard error goes to the agent's log; "I! " says at which level.
echo "I! counting" >&2
n=0
while read -r _; do
	n=$((n + 1))
	echo "shell_counter,made_in=sh count=${n}i"
done
