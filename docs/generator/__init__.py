"""The pages of the site that are made of code: commands, messages, Python's docstrings, examples. Pure but for reading.

`hooks` gives them to mkdocs; each other module makes one kind of page, from what a checkout holds.
"""
