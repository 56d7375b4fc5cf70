"""Network parts that know nothing of files or tokens."""
