"""Network parts that know nothing of tokens, and whole networks that look at pictures: LPIPS, faces, text."""
