"""Runs a test program of Eclipse's MQTT interoperability suite, which takes its own arguments for unittest's.

    python3 eclipse.py client_test.py HOST PORT     in the suite's folder "interoperability"

Some of its tests wait without an end for what a broker does not send; each has 60 seconds here.
"""

import os
import runpy
import signal
import sys
import unittest


def late(*_):
    raise TimeoutError("did not end within 60 seconds")


def limited(self, result=None, run=unittest.TestCase.run):
    signal.alarm(60)
    try:
        return run(self, result)
    finally:
        signal.alarm(0)


program, host, port = sys.argv[1:]
signal.signal(signal.SIGALRM, late)
unittest.TestCase.run = limited
main = unittest.main
unittest.main = lambda: main(argv=[program], verbosity=2)
# Not -h and -p: the programs take "-h" for a part of "--help".
sys.argv = [program, "--hostname", host, "--port", port]
sys.path.insert(0, os.getcwd())
runpy.run_path(program, run_name="__main__")
