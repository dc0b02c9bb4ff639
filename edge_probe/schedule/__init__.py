"""When a recorder records: the table ``[schedule]`` of its deployment file, see the README here."""
