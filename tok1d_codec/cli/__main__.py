"""`python -m tok1d_codec.cli` is `t1d`."""

import sys

from tok1d_codec.cli import main

sys.exit(main())
