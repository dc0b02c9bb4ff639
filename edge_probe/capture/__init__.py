"""Process A of the recorder: microphone to segments and ledger. It never waits for anybody."""
