"""``python -m segue``, which launchers of several processes need."""

from segue.cli.app import main

if __name__ == "__main__":
    main()
