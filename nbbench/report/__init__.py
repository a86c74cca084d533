"""What nbbench found, written for people, programs and evidence folders.

Facts become blocks (`blocks.py`), and one writer a format prints them: text, Markdown, a page. JSON holds the
facts themselves. Nothing here reads the database or imports torch.
"""
