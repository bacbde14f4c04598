"""Runs a test program of Eclipse's MQTT interoperability suite, which takes its own arguments for unittest's.

    python3 eclipse.py client_test.py HOST PORT     in the suite's folder "interoperability"
"""

import os
import runpy
import sys
import unittest

program, host, port = sys.argv[1:]
main = unittest.main
unittest.main = lambda: main(argv=[program], verbosity=2)
# Not -h and -p: the programs take "-h" for a part of "--help".
sys.argv = [program, "--hostname", host, "--port", port]
sys.path.insert(0, os.getcwd())
runpy.run_path(program, run_name="__main__")
