#!/usr/bin/python3
"""A cluster by a SOAP client that is not ours (Debian: python3-zeep).

Usage: examples/zeep-client.py [https://HOST:8443]
with X509_USER_PROXY and X509_CERT_DIR set; the embedded grid's are
  X509_USER_PROXY=/var/lib/gridvc/grid/user/proxy.pem X509_CERT_DIR=/var/lib/gridvc/grid/certificates
"""
import os
import sys
import time
import uuid

import requests
import zeep

gatekeeper = sys.argv[1] if len(sys.argv) > 1 else "https://127.0.0.1:8443"
session = requests.Session()
session.trust_env = False  # else REQUESTS_CA_BUNDLE would win over `verify`
session.cert = os.environ["X509_USER_PROXY"]  # certificate chain and key in one file
session.verify = os.environ["X509_CERT_DIR"]
service = zeep.Client(gatekeeper + "/soap/cluster?wsdl", transport=zeep.Transport(session=session)).service

request = {"count": 2, "memory": 320, "package": ["hello"], "lifetime": 10}
plan = service.plan(request=request)
print(f"predicted: {plan.predictedSeconds:.1f} s at {', '.join(site.site for site in plan.sites)}")

cluster = service.createCluster(key=str(uuid.uuid4()), request=request)
print("created", cluster.id)
try:
    after = 0
    while cluster.state not in ("ready", "failed", "destroyed"):
        for event in service.awaitEvents(id=cluster.id, after=after, seconds=20) or []:
            print(f"  {event.site or '-'}: {event.text}")
            after = event.sequence
        cluster = service.getCluster(id=cluster.id)
    print(cluster.state, f"after {cluster.measuredSeconds} s" if cluster.state == "ready" else cluster.reason)
    for node in cluster.nodes or []:
        print(f"  {node.name} {node.overlayAddress} at {node.site}")
finally:
    service.destroyCluster(id=cluster.id)
    while service.getCluster(id=cluster.id).state not in ("destroyed", "failed"):
        time.sleep(0.2)
    print("destroyed", cluster.id)
