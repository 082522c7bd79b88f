TEXT = "greetings from a wheel"
