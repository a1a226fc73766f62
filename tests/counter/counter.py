#!/usr/bin/python3
"""Counts how often it is told to, in the way that the first argument names,
and notes in the file of the second what it prints."""
import os
import signal
import sys
import time

mode, note = sys.argv[1:]
n = 0


def say(*_):
    global n
    n += 1
    line = f'counter,by=python,signal={mode} n={n}i,text="row one\nrow \\"{n}\\", größe = \\\\ 日本 " {time.time_ns()}\n'.encode()
    with open(note, "ab") as f:
        f.write(line)
    os.write(1, line)


if mode == "none":
    while True:
        say()
        time.sleep(0.4)
elif mode == "STDIN":
    for _ in sys.stdin:
        say()
else:
    signal.signal(getattr(signal, mode), say)
    while True:
        signal.pause()
