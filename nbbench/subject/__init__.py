"""The subject: its repository, its measured commits, one commit's source tree, the demo."""
