"""A folder of recordings, classified by many processes: whole, once, and the same in any order."""
