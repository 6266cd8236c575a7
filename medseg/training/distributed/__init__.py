"""Training in several processes at once: who they are, what they add up and what they decide alike."""
