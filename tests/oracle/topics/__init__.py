"""The query lists, one file a topic; each has `topic(Topic)`."""
