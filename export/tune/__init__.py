"""The search for a head's learning rate, weight decay and dropout, by many processes at once."""
