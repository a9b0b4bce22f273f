"""The checks of S3. They try each permission on a small object, `doctor-*`, and delete it.

The doctor does not journal the object, because it must work without a database. If the doctor
crashes, `scripts.verify` reports the object as an orphan.
"""

from contextlib import closing
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import urllib3

from errors import ObjectMissingError, StorageUnavailableError
from s3_client import error_code, generate_s3_key
from scripts.doctor.checks import PROBE, CheckFailed, CheckWarning, Subject, check, compare_clock

_WRONG_REGION = "set AWS_REGION to the region of the bucket"
_UNREACHABLE = "set AWS_ENDPOINT_URL_S3 to the address of the store, and let this host reach it"

# The fix for each error, by the code of S3 (AWS: "Error responses") or the class of botocore.
FIXES = {
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "AuthorizationQueryParametersError": _WRONG_REGION,
    "PermanentRedirect": _WRONG_REGION,
    "NoSuchBucket": "create the bucket, or name another in AWS_S3_BUCKET",
    "InvalidAccessKeyId": "set AWS_ACCESS_KEY_ID to a key that the store knows",
    "SignatureDoesNotMatch": "set AWS_SECRET_ACCESS_KEY to the secret of the access key",
    "NoCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role",
    "ExpiredToken": "renew the credentials",
    "RequestTimeTooSkewed": "set the clock of this host (NTP)",
    "NotImplemented": "set S3_CHECKSUM=false, because the store does not support checksums",
    "EndpointConnectionError": _UNREACHABLE,
    "ConnectTimeoutError": _UNREACHABLE,
}
_S3, _PUT, _GET = "S3 answers", "put an object", "get an object"
_DENIED = {"AccessDenied", "403"}


def code_of(error: BaseException) -> str:
    """Return S3's code of the error, or the name of the exception that caused it."""
    cause = error.__cause__ or error
    return error_code(cause) or type(cause).__name__


@check(_S3, "see the error of the store")
def _answers(subject: Subject) -> str:
    try:
        list(subject.bucket.list_objects(subject.key))
    except StorageUnavailableError as exc:
        if code_of(exc) not in _DENIED:
            raise
    return subject.settings.aws_endpoint_url_s3 or "Amazon S3"


@check("addressing", "use a bucket without dots in its name", _S3)
def _addressing(subject: Subject) -> str:
    url = urlsplit(subject.bucket.presigned_url("GET", subject.key, {}))
    name = subject.settings.aws_s3_bucket
    if url.path.startswith(f"/{name}/"):
        return f"path style, {url.scheme}://{url.netloc}"
    if url.scheme == "https" and "." in name:
        raise CheckFailed("the certificate of the store does not cover a bucket name with dots")
    return f"virtual hosts, {url.scheme}://{url.netloc}"


@check("list objects", "allow s3:ListBucket on the bucket", _S3)
def _list(subject: Subject) -> str:
    list(subject.bucket.list_objects(subject.key))
    return "allowed"


@check(_PUT, "allow s3:PutObject on all objects of the bucket", _S3)
def _put(subject: Subject) -> str:
    subject.put()
    return f"allowed, {'with' if subject.settings.s3_checksum else 'without'} checksum"


@check(_GET, "allow s3:GetObject on all objects of the bucket", _PUT)
def _get(subject: Subject) -> str:
    if subject.bucket.download_image(subject.key).read_all(len(PROBE)) != PROBE:
        raise CheckFailed("the object comes back changed", "the store is broken: use another")
    head = subject.call("head_object", Key=subject.key)
    subject.headers = head["ResponseMetadata"]["HTTPHeaders"]
    return f"allowed, signed for {subject.settings.aws_region}"


@check("get a range", "use a store that supports ranges", _GET)
def _get_range(subject: Subject) -> str:
    part = subject.bucket.download_image(subject.key, (2, 6)).read_all()
    if part != PROBE[2:7]:
        raise CheckFailed(f"{len(part)} bytes instead of 5")
    return "exact"


@check(
    "presigned URL",
    "set S3_PUBLIC_ENDPOINT_URL to the address of the store for clients, or REDIRECTS=off",
    _GET,
)
def _presigned(subject: Subject) -> str:
    problem = CheckWarning if subject.settings.redirects == "off" else CheckFailed
    url = subject.bucket.presigned_url("GET", subject.key, {"Content-Type": "image/x-probe"})
    try:
        answer = urllib3.request(
            "GET", url, timeout=subject.settings.s3_read_timeout_seconds, retries=False
        )
    except urllib3.exceptions.HTTPError as exc:
        raise problem(f"{urlsplit(url).netloc} does not answer: {exc}") from exc
    if answer.status != 200 or answer.data != PROBE:
        raise problem(f"answered {answer.status}")
    if answer.headers.get("Content-Type") != "image/x-probe":
        raise problem("the store ignores the requested headers")
    return f"answers at {urlsplit(url).netloc}"


@check("checksum", "use https: otherwise nothing protects the bytes in transit", _PUT)
def _checksum(subject: Subject) -> str:
    if not subject.settings.s3_checksum:
        raise CheckWarning("not sent", "set S3_CHECKSUM=true if the store supports checksums")
    try:
        subject.put_altered()
    except StorageUnavailableError as exc:
        answer = getattr(exc.__cause__, "response", {}).get("ResponseMetadata", {})
        if answer.get("HTTPStatusCode") != 400:  # not about the checksum
            raise
        return f"altered bytes are refused ({code_of(exc)})"
    raise CheckWarning("the store accepts bytes that were altered in transit")


@check("clock of S3", "set the clocks of both hosts (NTP)", _GET)
def _clock(subject: Subject) -> str:
    if not (date := subject.headers.get("date")):
        raise CheckWarning("the store sends no Date header")
    return compare_clock(parsedate_to_datetime(date))


@check("versioning", "let a lifecycle rule delete noncurrent versions", _GET)
def _versioning(subject: Subject) -> str:
    # "null" if it was suspended.
    if subject.headers.get("x-amz-version-id", "null") != "null":
        raise CheckWarning("on: deleted objects stay as noncurrent versions, which cost storage")
    return "off"


@check("delete an object", "allow s3:DeleteObject on all objects of the bucket", _PUT)
def _delete(subject: Subject) -> str:
    subject.delete(subject.key)
    return "allowed"


@check(
    "missing object", "allow s3:ListBucket; without it S3 answers 403 for a missing object", _GET
)
def _missing(subject: Subject) -> str:
    key = generate_s3_key("doctor", "txt")
    try:
        with closing(subject.bucket.download_image(key)):
            raise CheckFailed("an object exists that was never stored", "the store is broken")
    except ObjectMissingError:
        return "distinguished from a forbidden one"


BUCKET_CHECKS = (
    *(_answers, _addressing, _list, _put, _get, _get_range, _presigned, _checksum, _clock),
    *(_versioning, _delete, _missing),
)
