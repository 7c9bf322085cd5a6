#!/usr/bin/env python3
"""A short campaign: texts of every family through lorac tokenize and Hugging Face's tokenizers (scripts/tokenizer_campaign).

usage: test_tokenizers.py [--seed N]      needs LORAC_BUILD_DIR
"""
import argparse
import os
import subprocess
import sys
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
STRINGS = 150  # of a family


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LORAC_TEST_SEED", time.time() % 1e6)))
    seed = parser.parse_args().seed
    print(f"LORAC_TEST_SEED={seed}", flush=True)
    return subprocess.run([sys.executable, os.path.join(ROOT, "scripts", "tokenizer_campaign"), "--golden", "--strings", str(STRINGS),
                           "--seed", str(seed)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
