#!/usr/bin/env python3
"""Writes data/ppm_*.png, the logo in pixels, from data/ppm.svg.

    data/logo.py [--check]    with --check nothing is written, and a picture that differs is an error

Needs resvg-py in the version of .ci/tools.txt: it is a program of its own, reads no fonts and no settings, so the same
drawing is the same file to the bit.
"""

import pathlib
import sys

import resvg_py

DATA = pathlib.Path(__file__).resolve().parent
SIZES = [128, 256, 512]  # pixels


def main():
    wrong = []
    for size in SIZES:
        file = DATA / f"ppm_{size}x{size}.png"
        picture = bytes(resvg_py.svg_to_bytes(svg_path=str(DATA / "ppm.svg"), width=size, height=size, skip_system_fonts=True))
        if sys.argv[1:] != ["--check"]:
            file.write_bytes(picture)
        elif not file.exists() or file.read_bytes() != picture:
            wrong.append(file.name)
    if wrong:
        sys.exit(f"error: {', '.join(wrong)} is not what data/ppm.svg shows\n  hint: run data/logo.py")


if __name__ == "__main__":
    main()
