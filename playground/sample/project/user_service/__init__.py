"""Who somebody is: accounts and display names."""
