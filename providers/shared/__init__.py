"""What several providers share: the SMTP conversation, delivery status notifications, the parts of short messages."""
