"""The doors mail comes in by: SMTP, LMTP and IMAP, and the intake that makes it durable."""
