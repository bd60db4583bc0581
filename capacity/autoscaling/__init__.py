"""Autoscaling: how the number of replicas follows the load, as Kubernetes' HPA and KEDA have it."""
