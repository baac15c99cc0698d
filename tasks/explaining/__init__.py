"""Attribution methods and their quality: the only code that uses Captum."""
