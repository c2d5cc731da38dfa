"""What a run consists of: its options, model, devices, folder, and how it is resumed."""
