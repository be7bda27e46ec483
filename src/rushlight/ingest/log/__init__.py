"""The write-ahead log of one intake: on disk before the answer, sent until it is settled, dropped only then."""
