"""The life of one activity: its states, what moves it between them, and when. Pure."""
