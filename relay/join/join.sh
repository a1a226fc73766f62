#!/bin/sh
# Makes this machine a node of the vitals relay at @RELAY@:
# gets the package of vitals-agent from there, checks it, installs it, and has it
# ask for the code of an invite. There is no secret in this script.
#
# The same by hand: bring a package here, install it, then
#   sudo vitals-agent join '@RELAY@'@PIN_FLAG@

relay='@RELAY@'
pin='@PIN@' # of the relay's key; empty: its certificate is looked at as usual

stop() {
	printf 'vitals: %s\n' "$*" >&2
	exit 1
}

# fetch gets a file of the relay's: fetch PATH FILE.
fetch() {
	if [ -n "$pin" ]; then
		curl -fsSk --pinnedpubkey "$pin" --connect-timeout 20 --speed-limit 1 --speed-time 60 -o "$2" "$relay$1"
	else
		curl -fsS --connect-timeout 20 --speed-limit 1 --speed-time 60 -o "$2" "$relay$1"
	fi
}

# architecture names the processor that this system's programs are for, as Debian
# does. The kernel's may be another: many a Raspberry Pi has a 64-bit kernel below
# 32-bit programs.
architecture() {
	if dpkg --print-architecture 2>/dev/null; then
		return
	elif command -v od >/dev/null 2>&1; then
		of_program /bin/sh
	else
		case $(uname -m)-$(getconf LONG_BIT 2>/dev/null) in
		x86_64-64 | x86_64-) echo amd64 ;;
		aarch64-64 | aarch64-) echo arm64 ;;
		aarch64-32 | armv6l-* | armv7l-* | armv8l-*) echo armhf ;;
		*) uname -m ;;
		esac
	fi
}

# of_program reads the header of a program: bits and processor.
of_program() {
	case $(od -An -tu1 -j4 -N1 "$1" | tr -d ' ')-$(od -An -tu1 -j18 -N1 "$1" | tr -d ' ')-$(uname -m) in
	2-62-*) echo amd64 ;;
	2-183-*) echo arm64 ;;
	1-40-armv5* | 1-40-armv4*) uname -m ;;
	1-40-*) echo armhf ;;
	*) uname -m ;;
	esac
}

# installed is the version of vitals-agent that is there, as packages write it.
installed() {
	vitals-agent version 2>/dev/null | sed -n 's/^vitals-agent v\{0,1\}//p' | tr - '~'
}

# unpack installs a package: unpack FILE.
unpack() {
	case $1 in
	*.deb) DEBIAN_FRONTEND=noninteractive dpkg -i --force-confold "$1" ;;
	*.rpm) rpm -U --oldpackage --replacepkgs "$1" ;;
	*.tar.gz) tar -xzf "$1" -C / && sh /usr/lib/vitals/vitals-agent.setup ;;
	esac
}

# get brings the package here, checks and installs it.
get() {
	arch=$(architecture)
	kind=tar.gz
	rpm --version >/dev/null 2>&1 && kind=rpm
	dpkg --print-architecture >/dev/null 2>&1 && kind=deb
	fetch /packages/SHA256SUMS "$dir/SHA256SUMS" || stop "the relay does not answer as it should (above); nothing was changed here. Try again when it does"
	file=$(sed -n "s/^[0-9a-f]*  \(vitals-agent_[^ /]*_$arch\.$kind\)\$/\1/p" "$dir/SHA256SUMS" | head -n 1)
	if [ -z "$file" ] && command -v vitals-agent >/dev/null 2>&1; then
		echo "vitals: the relay has no .$kind of vitals-agent for $arch; the one that is installed stays" >&2
		return
	fi
	[ -n "$file" ] || stop "the relay has no .$kind of vitals-agent for $arch; nothing was changed here. It has: $(sed 's/.*  //; $!s/$/,/' "$dir/SHA256SUMS" | tr '\n' ' ' | grep . || echo none)
Install the package vitals-packages on the relay; or bring a package of vitals-agent here, install it, and then: sudo vitals-agent join '$relay'@PIN_FLAG@"
	version=${file#vitals-agent_}
	version=${version%%_*}
	if [ "$(installed)" = "$version" ]; then
		echo "vitals: vitals-agent $version is installed already"
		return
	fi
	fetch "/packages/$file" "$dir/$file" || stop "$file did not arrive (above); nothing was changed here. Try again"
	(cd "$dir" && grep "  $file\$" SHA256SUMS >sum && sha256sum -c sum >/dev/null 2>&1) ||
		stop "$file is damaged: it is not the one that SHA256SUMS of the relay names; nothing was changed here. Put the package on the relay again"
	echo "vitals: installs $file"
	unpack "$dir/$file" || stop "$file could not be installed (above). Mend that, and try again"
}

main() {
	[ "$(id -u)" = 0 ] || stop "only root can install the agent: … | sudo sh"
	command -v curl >/dev/null 2>&1 || stop "curl is not installed; install it, or bring a package of vitals-agent here, install it, and then: sudo vitals-agent join '$relay'@PIN_FLAG@"
	command -v sha256sum >/dev/null 2>&1 || stop "sha256sum is not installed, so that the package could not be checked"
	dir=$(mktemp -d) || stop "there is no room for files that are not kept"
	trap 'rm -rf "$dir"' EXIT
	trap 'exit 1' HUP INT TERM
	get
	rm -rf "$dir"
	trap - EXIT HUP INT TERM
	if [ -n "$VITALS_CODE_FILE" ]; then
		exec vitals-agent join "$relay" ${pin:+--pin "$pin"} --code-file "$VITALS_CODE_FILE" </dev/null
	fi
	(: </dev/tty) 2>/dev/null || stop "vitals-agent is installed, but there is no terminal to ask for the code on; put it in a file that only root can read, and then: vitals-agent join '$relay'@PIN_FLAG@ --code-file FILE"
	exec vitals-agent join "$relay" ${pin:+--pin "$pin"} </dev/tty
}

main "$@"
