#!/usr/bin/env python3
# ctest: release e2e
"""A short run of scripts/template_campaign: every template at hand, and random programs, against Jinja2."""

import os
import subprocess
import sys

ROOT = os.environ.get("LORAC_SOURCE_DIR", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("LORAC_BUILD_DIR", os.path.join(ROOT, "build/release"))


def main():
    try:
        import jinja2  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        print("skipped: %s" % error)
        return 77
    return subprocess.run([sys.executable, os.path.join(ROOT, "scripts/template_campaign"), "--lorac",
                           os.path.join(BUILD, "lorac"), "--conversations", "8", "--programs", "300",
                           "--seed", "20240726"]).returncode


if __name__ == "__main__":
    sys.exit(main())
