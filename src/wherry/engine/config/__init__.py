"""What clients ask for, parsed from the API's JSON into frozen dataclasses, and checked."""
