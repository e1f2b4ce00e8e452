"""Every figure and page, drawn from nouns alone."""
