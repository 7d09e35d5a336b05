"""`rsd app`: images, 3D objects and inverse problems in the browser."""

import argparse
from pathlib import Path

from .options import CommandParser, Parsers, add_command, add_option, impossible

HOST, PORT = "127.0.0.1", 7860  # Gradio's own port
LAST_PORT = 65535


def add_parser(commands: Parsers) -> None:
    """Add `rsd app`."""
    add_command(
        commands,
        "app",
        run,
        _add_arguments,
        "Serve a page on which images, 3D objects and inverse problems are computed in the browser.",
        "Needs Gradio: pip install '.[app]'. One run at a time computes, others wait.",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the app until Ctrl-C.

    Raises:
        UserError: Gradio is not installed, or the address cannot be used.
    """
    from ..app.interface import App, serve
    from ..files import make_folder

    make_folder(args.output)
    serve(App(args.output), args.host, args.port)
    return 0


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--host", default=HOST, help="address to listen at; 0.0.0.0: all, without any protection")
    parser.add_argument("--port", type=_port, default=PORT, help=f"port; 0: the first free one from {PORT}")
    add_option(parser, "--output", Path("outputs/app"), "folder of the runs")


def _port(text: str) -> int:
    if not text.strip().isdecimal() or len(text) > 5 or int(text) > LAST_PORT:
        raise impossible(text, f"an integer from 0 to {LAST_PORT}")
    return int(text)
