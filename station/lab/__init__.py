"""Three stations and a balancer on one machine."""
