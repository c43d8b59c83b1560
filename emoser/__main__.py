"""`python -m emoser` is the command `emoser`."""

from emoser.cli import main

if __name__ == "__main__":
    main()
