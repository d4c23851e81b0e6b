"""Run `syncd` as `python -m syncd`."""

from syncd.cli.main import main

main()
