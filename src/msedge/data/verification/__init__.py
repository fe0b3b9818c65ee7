"""What a prepared dataset lacks, has too much of, or has wrong, against its protocol."""
