"""What the machine goes through, one module each: `run` gives facts, `vm.verdict` judges them."""
