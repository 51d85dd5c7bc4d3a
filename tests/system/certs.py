"""Certificates for tests, made by the openssl command: an authority, and what it issues. Keys are of P-256."""

import os
import ssl
import subprocess

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*words, input=None, check=True):
    p = subprocess.run(["openssl", *words], input=input, capture_output=True, timeout=60)
    if check and p.returncode != 0:
        raise AssertionError("openssl %s: %s" % (" ".join(words), p.stderr.decode()))
    return p


class Pair:
    """The files of a certificate and its key."""

    def __init__(self, stem):
        self.cert, self.key = stem + ".pem", stem + ".key"

    @property
    def lua(self):
        return "cert = %r, key = %r" % (self.cert, self.key)


class Authority:
    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.own = Pair(os.path.join(folder, name))
        self.path = self.own.cert
        openssl("req", "-x509", *EC, "-keyout", self.own.key, "-out", self.own.cert, "-days", "365",
                "-subj", "/CN=%s of tests" % name)

    def issue(self, name, subject="/CN=localhost", hosts=("localhost",), days=90, extra=()):
        """A certificate for these hosts; `days` 0: it expires at once. The key is readable by its owner alone."""
        pair = Pair(os.path.join(self.folder, name))
        request, extensions = os.path.join(self.folder, name + ".csr"), os.path.join(self.folder, name + ".ext")
        openssl("req", *EC, "-keyout", pair.key, "-out", request, "-subj", subject)
        os.chmod(pair.key, 0o600)
        names = ["%s:%s" % ("IP" if h[0].isdigit() else "DNS", h) for h in hosts]
        with open(extensions, "w") as f:
            f.write("\n".join(["subjectAltName=" + ",".join(names)] * bool(names) + list(extra)) + "\n")
        openssl("x509", "-req", "-in", request, "-CA", self.own.cert, "-CAkey", self.own.key, "-CAcreateserial",
                "-days", str(days), "-extfile", extensions, "-out", pair.cert)
        return pair

    def trusting(self, pair=None, least=ssl.TLSVersion.TLSv1_2, most=ssl.TLSVersion.TLSv1_3):
        """What a client needs: it trusts this authority, and shows the certificate of `pair`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.path)
        context.minimum_version, context.maximum_version = least, most
        if pair:
            context.load_cert_chain(pair.cert, pair.key)
        return context
