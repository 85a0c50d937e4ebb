"""Whose trouble the vendors' codes are: of the number, the message, the way out, or unknown. As their own tables of codes say."""

import pytest

from noticesvc.provider import OutcomeUnknown, PermanentFailure, ProviderUnavailable, Rejected, TemporaryFailure
from tests.fakes.provider_peers import PEERS, message, opened

ALIYUN = {
    TemporaryFailure: ["isv.BUSINESS_LIMIT_CONTROL"],
    PermanentFailure: ["isv.MOBILE_NUMBER_ILLEGAL"],
    Rejected: ["isv.BLACK_KEY_CONTROL_LIMIT", "isv.CUSTOMER_REFUSED", "isv.PARAM_LENGTH_LIMIT", "isv.PARAM_NOT_SUPPORT_URL",
               "isv.SMS_CONTENT_ILLEGAL", "isv.UNSUPPORTED_CONTENT", "isv.TEMPLATE_PARAMS_ILLEGAL",
               "isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE"],
    ProviderUnavailable: ["isv.DAY_LIMIT_CONTROL", "isv.MONTH_LIMIT_CONTROL", "isp.RAM_PERMISSION_DENY", "isv.OUT_OF_SERVICE",
                          "isv.AMOUNT_NOT_ENOUGH", "isv.SMS_SIGNATURE_ILLEGAL", "isv.SMS_TEMPLATE_ILLEGAL",
                          "isv.TEMPLATE_MISSING_PARAMETERS", "isv.DENY_IP_RANGE", "SignatureDoesNotMatch",
                          "InvalidTimeStamp.Expired", "Throttling.User"],
    OutcomeUnknown: ["isp.SYSTEM_ERROR", "isp.GATEWAY_ERROR", "InternalError", "UnknownError", "ServiceUnavailable"],
}
TENCENT = {
    TemporaryFailure: ["LimitExceeded.PhoneNumberDailyLimit", "LimitExceeded.PhoneNumberThirtySecondLimit",
                       "LimitExceeded.PhoneNumberSameContentDailyLimit", "LimitExceeded.DeliveryFrequencyLimit",
                       "FailedOperation.MarketingSendTimeConstraint"],
    PermanentFailure: ["InvalidParameterValue.IncorrectPhoneNumber", "FailedOperation.PhoneNumberParseFail"],
    Rejected: ["FailedOperation.ContainSensitiveWord", "FailedOperation.PhoneNumberInBlacklist", "InvalidParameter.DirtyWordFound",
               "InvalidParameterValue.ContentLengthLimit", "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter",
               "InvalidParameterValue.TemplateParameterLengthLimit"],
    ProviderUnavailable: ["LimitExceeded.AppDailyLimit", "LimitExceeded.DailyLimit", "LimitExceeded.PhoneNumberCountLimit",
                          "FailedOperation.InsufficientBalanceInSmsPackage", "FailedOperation.SignatureIncorrectOrUnapproved",
                          "UnauthorizedOperation.ServiceSuspendDueToArrears", "UnsupportedOperation.UnsupportedRegion",
                          "AuthFailure.SignatureFailure", "RequestLimitExceeded", "InternalError.RequestTimeException",
                          "InternalError.SigFieldMissing"],
    OutcomeUnknown: ["InternalError.Timeout", "InternalError.SendAndRecvFail", "InternalError.OtherError", "InternalError.UnknownError"],
}
TWILIO = {
    TemporaryFailure: ["14107"], PermanentFailure: ["21211"], Rejected: ["21610", "21614", "21617", "21635", "21658"],
    # 21401 is our own sender's, 21611 its full queue: neither says anything of the recipient.
    ProviderUnavailable: ["20003", "20429", "21401", "21408", "21606", "21611", "21612", "99999"],
}
CASES = [(name, code, kind) for name, table in (("aliyun", ALIYUN), ("tencent", TENCENT), ("twilio", TWILIO))
         for kind, codes in table.items() for code in codes]


@pytest.mark.parametrize("name", ["aliyun", "tencent", "twilio"])
async def test_a_code_says_whose_trouble_it_is(name):
    """Each code of the vendor's table raises what it means, with the code and the answer kept; nothing was taken."""
    peer = PEERS[name]()
    async with peer.run(), opened(peer) as provider:
        for _, code, kind in (case for case in CASES if case[0] == name):
            peer.server.code = code
            with pytest.raises((TemporaryFailure, PermanentFailure, Rejected, OutcomeUnknown)) as caught:
                await provider.submit(message("sms"))
            assert (type(caught.value), caught.value.code) == (kind, code)
            assert code.encode() in caught.value.raw
    assert peer.server.taken == []
