"""A SOAP client that is not ours: python3-zeep makes real calls over TLS with a client certificate.
argv: base URL, CA file, certificate file, key file. Prints one JSON line for test/contract.test.ts."""
import json
import sys

import requests
import zeep
from zeep.transports import Transport

base, ca, certificate, key = sys.argv[1:5]
session = requests.Session()
session.trust_env = False  # else REQUESTS_CA_BUNDLE would override the CA below
session.verify = ca
session.cert = (certificate, key)
transport = Transport(session=session, timeout=20, operation_timeout=20)
cluster = zeep.Client(base + "/soap/cluster?wsdl", transport=transport).service
site = zeep.Client(base + "/soap/site?wsdl", transport=transport).service

found = {}
made = cluster.createCluster(
    key="zeep-1",
    request={"count": 4, "minCount": 2, "package": ["gcc", "make"], "bundle": ["mpi"], "placement": "spread",
             "file": [{"path": "/home/grid/a", "mode": "0600", "content": b"hello"}]},
)
found["createCluster"] = [made.id, made.state, made.created.isoformat(), [node.name for node in made.nodes], made.warnings]
found["rsl"] = cluster.plan(rsl="&(count=2)").predictedSeconds
found["list"] = len(cluster.listClusters())
found["events"] = [event.kind for event in cluster.awaitEvents(id="k3x9q2ab", after=0, seconds=0)]
found["delegation"] = cluster.requestDelegation()["request"]
found["site"] = site.setSiteState(name="alpha", state="draining").state
try:
    cluster.getCluster(id="missing1")
except zeep.exceptions.Fault as fault:
    detail = fault.detail.find("{urn:gridvc:types}gridFault")
    found["fault"] = [fault.code, fault.message, detail.findtext("{urn:gridvc:types}kind"), detail.findtext("{urn:gridvc:types}hint")]
print(json.dumps(found))
