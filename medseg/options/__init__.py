"""What commands share: options, what their words mean, how a command starts and how it ends."""
