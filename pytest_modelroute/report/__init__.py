"""What people read: failures and the summary."""
