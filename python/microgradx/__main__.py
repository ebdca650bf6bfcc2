"""The command line: ``python -m microgradx``."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from microgradx import __version__

USAGE_ERROR = 2

EPILOG = """\
exit codes:
  0    done
  1    something failed
  2    wrong usage: also a file that cannot be read or written, or a package
       that is missing
  130  interrupted by Ctrl-C

"python -m microgradx COMMAND --help" tells more of a command.
"""

DEMO_EPILOG = """\
examples:
  python -m microgradx demo
  python -m microgradx demo --steps 300 --seed 1 --output moons.svg

exit codes:
  0    done
  2    wrong usage: also a picture that cannot be written there
  130  interrupted by Ctrl-C; what has been learnt is drawn all the same
"""

RUN_EPILOG = """\
examples:
  python -m microgradx run script.py
  python -m microgradx run script.py --an-option-of-the-script

exit codes:
  2    the script cannot be read
  any  the script's own
"""

BENCH_EPILOG = """\
examples:
  python -m microgradx bench --output bench.json
  python -m microgradx bench --peers --markdown --plot peers.svg
  python -m microgradx bench --compiled --quick

exit codes:
  0    done
  1    something failed
  2    wrong usage: also a package that is missing, or a file that cannot be
       written there
  130  interrupted by Ctrl-C

What was measured before a failure or Ctrl-C is told and written all the same;
the JSON says "complete": false.
"""

INFO_EPILOG = """\
examples:
  python -m microgradx info
  python -m microgradx info --json

exit codes:
  0    done
  2    wrong usage
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What follows the script is the script's: argparse would keep a "--" for itself.
    own = 2 if given[:1] == ["run"] else len(given)
    options = _parser().parse_args(given[:own])
    options.arguments = given[own:]
    exit_code: int = options.execute(options)
    return exit_code


def _demo(options: argparse.Namespace) -> int:
    from microgradx.demo import run_demo

    return run_demo(options.steps, options.output, options.seed)


def _run(options: argparse.Namespace) -> int:
    from microgradx.compat import run_script

    try:
        Path(options.script).open("rb").close()
    except OSError as error:
        print(f"run: cannot read {options.script!r}: {error.strerror}", file=sys.stderr)
        return USAGE_ERROR
    run_script(options.script, options.arguments)
    return 0


def _bench(options: argparse.Namespace) -> int:
    if options.peers:
        peers = importlib.import_module("microgradx.benchmarks.peers.command")
        exit_code: int = peers.main(options.quick, options.style, options.output, options.plot)
        return exit_code
    if options.plot is not None:
        print("bench: --plot draws what --peers measures: give both", file=sys.stderr)
        return USAGE_ERROR
    package = "benchmarks.compiled" if options.compiled else "benchmarks"
    command = importlib.import_module(f"microgradx.{package}.command")
    exit_code = command.main(options.quick, options.style, options.output)
    return exit_code


def _info(options: argparse.Namespace) -> int:
    from microgradx.info import as_json, as_text, information

    print((as_json if options.json else as_text)(information()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m microgradx",
        description="micrograd on a C++ graph arena: the same Value and nn, faster.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"microgradx {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    # The formatter keeps the lines of the examples as they are.
    add = partial(commands.add_parser, formatter_class=argparse.RawDescriptionHelpFormatter)

    demo = add(
        "demo",
        help="train a small network on two moons and draw its decision boundary",
        description="Train MLP(2, [16, 16, 1]) on two moons as micrograd's demo does, and "
        "draw\nthe decision boundary: a picture with matplotlib, text without it.",
        epilog=DEMO_EPILOG,
    )
    demo.add_argument(
        "--steps",
        type=_integer(1, math.inf),
        default=100,
        help="gradient steps (default: %(default)s)",
    )
    demo.add_argument(
        "--output",
        default="moons.png",
        metavar="FILE",
        help="where the picture goes; the suffix says its format (default: %(default)s)",
    )
    demo.add_argument(
        "--seed",
        type=_integer(0, 2**32 - 1),
        default=1337,
        help="of the points and the first weights (default: %(default)s)",
    )
    demo.set_defaults(execute=_demo)

    run = add(
        "run",
        help="run a script that imports micrograd, with microgradx in its place",
        description="Run a script as Python would, with microgradx standing in for micrograd.",
        epilog=RUN_EPILOG,
    )
    run.add_argument("script", help="a Python file")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script is given")
    run.set_defaults(execute=_run)

    bench = add(
        "bench",
        help="measure the engine against micrograd, or against its peers",
        description="Measure microgradx and micrograd side by side and print the ratios. Needs\n"
        'pip install "microgradx[bench]", or with --peers or --compiled,\n"microgradx[peers]"; '
        "takes a few minutes.",
        epilog=BENCH_EPILOG,
    )
    subject = bench.add_mutually_exclusive_group()
    subject.add_argument(
        "--peers",
        action="store_true",
        help="measure whole training steps, also those of PyTorch, JAX and autograd",
    )
    subject.add_argument(
        "--compiled",
        action="store_true",
        help="measure compiled functions beside PyTorch, JAX and CasADi",
    )
    bench.add_argument(
        "--plot",
        metavar="FILE",
        help="draw what --peers measures; the suffix says the picture's format",
    )
    bench.add_argument(
        "--output", metavar="FILE", help="write all as JSON to a file, beside what is printed"
    )
    bench.add_argument(
        "--quick", action="store_true", help="small and once: shows that it runs, measures nothing"
    )
    style = bench.add_mutually_exclusive_group()
    for name, text in (("markdown", "print a Markdown table"), ("json", "print all as JSON")):
        style.add_argument(f"--{name}", action="store_const", dest="style", const=name, help=text)
    bench.set_defaults(execute=_bench, style="text")

    info = add(
        "info",
        help="tell what is installed and which instruction sets it uses",
        description="Tell the versions of microgradx and of what it works with, how it was "
        "built,\nwhich instruction sets it uses here, and which optional packages there are.",
        epilog=INFO_EPILOG,
    )
    info.add_argument("--json", action="store_true", help="print all as JSON")
    info.set_defaults(execute=_info)
    return parser


def _integer(low: int, high: float) -> Callable[[str], int]:
    def integer(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            bound = f"less than {low}" if number < low else f"more than {high}"
            raise argparse.ArgumentTypeError(f"{number} is {bound}")
        return number

    return integer


if __name__ == "__main__":
    sys.exit(main())
