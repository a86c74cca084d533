"""What nbbench found, written for people, programs and evidence folders.

Model objects become one view (`view`), and the view becomes text, Markdown, JSON, JUnit XML,
an offline page or a STAMP folder. Nothing here reads the database or imports torch.
"""
