"""``python -m medseg``, and with it ``torchrun --nproc-per-node 4 -m medseg train ...``."""

from medseg.cli import main

if __name__ == "__main__":
    main()
