"""Is what is recorded worth recording: microphone, sound card, board, told as rows."""
