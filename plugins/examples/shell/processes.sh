#!/bin/sh
# Run by [[inputs.exec]] at every interval: prints what there is, and ends.
set -- /proc/[0-9]*
echo "shell_processes total=$#i"
