/* SPDX-License-Identifier: MIT
 *
 * Certificates for the tests of TLS, made with OpenSSL, and keys that protect nothing. They are
 * valid from 2020 to 2120, but for the one that has expired (2001) and the one of the future
 * (2100). Those of servers are for db.example, *.wild.example, 10.1.2.3 and 2001:db8::1, and for
 * servers only. All keys are on P-256 except the client's (Ed25519) and the RSA ones.
 *
 *   authority  signs all below, except foreign, which the stranger signs
 *   deep       is signed by an intermediate; pem_chain has both
 *
 * The last ones are about names, signed by the namer: loose has names of hosts only (*.0.0.1,
 * 127.0.0.1, *, l*, *.*.test, *.test, db.example with a zero and .evil.test behind it, good.test) and
 * localhost as its common name, common has the common name 127.0.0.1 and no other, both with the
 * key of the server; pss is for db.example and has a key for RSASSA-PSS only.
 *
 * How: openssl genpkey, then openssl ca -startdate -enddate with basicConstraints, keyUsage,
 * extendedKeyUsage and subjectAltName.
 */
#ifndef WEFT_TESTS_UNIT_TLS_CERTS_H
#define WEFT_TESTS_UNIT_TLS_CERTS_H

static const char pem_authority[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBYTCCAQegAwIBAgIBATAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAx3ZWZ0IHRl\n"
    "c3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBcxFTATBgNV\n"
    "BAMMDHdlZnQgdGVzdCBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEqhMfAl\n"
    "sNW+UYBiChE6YK+A4ojwNhtlUubtUJCqCk2XYElbvYxOu9CYReibbWdZCEICiNma\n"
    "IP7h9YlgMaoVVjajQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEG\n"
    "MB0GA1UdDgQWBBQjPHk5rJ8YQbnB7lODzbtSoBFuxjAKBggqhkjOPQQDAgNIADBF\n"
    "AiBHIBPthgljzeEje+qCQlDJOjHRaThwT8Z+XZtoQH7JRwIhAIt7xXt/kTeJxs6D\n"
    "7kSIRfs13OME/l1HjPNOyqGfDroI\n"
    "-----END CERTIFICATE-----\n";

static const char pem_stranger[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBXDCCAQOgAwIBAgIBAjAKBggqhkjOPQQDAjAVMRMwEQYDVQQDDAphbm90aGVy\n"
    "IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYDVQQD\n"
    "DAphbm90aGVyIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzBI1/pvZwsCQ\n"
    "OPNYXoX+l+86WA0z9mz7dQacavM6CYisRSVd+9cVE2gQi7/DRYREhM/1+DHR6XkZ\n"
    "9+A26Ix8j6NCMEAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwHQYD\n"
    "VR0OBBYEFN6TPNh62O7SOZBWkTF82lfnDmUoMAoGCCqGSM49BAMCA0cAMEQCIGdG\n"
    "JKm5KKIKn8BbXE/retYZSG95Bf85Okm2NZSwKOW4AiB2czodX5nD6Iby5uT9CnT/\n"
    "o6Am3Zjx/CBbdcblLb/gzg==\n"
    "-----END CERTIFICATE-----\n";

static const char pem_server[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBzTCCAXOgAwIBAgIBAzAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAx3ZWZ0IHRl\n"
    "c3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBUxEzARBgNV\n"
    "BAMMCmRiLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARDsmKOjA8X\n"
    "kWrqN7J5fO3nLi15KNQupe/1RvCKO6K6PGEF4CGC/TgH3HUVwHurfxuwE0zvt5zA\n"
    "to7lOpxHJQ+5o4GvMIGsMAkGA1UdEwQCMAAwCwYDVR0PBAQDAgeAMBMGA1UdJQQM\n"
    "MAoGCCsGAQUFBwMBMD0GA1UdEQQ2MDSCCmRiLmV4YW1wbGWCDioud2lsZC5leGFt\n"
    "cGxlhwQKAQIDhxAgAQ24AAAAAAAAAAAAAAABMB0GA1UdDgQWBBSVVwMAFba+zHgd\n"
    "EkFbe2CN1oKoQjAfBgNVHSMEGDAWgBQjPHk5rJ8YQbnB7lODzbtSoBFuxjAKBggq\n"
    "hkjOPQQDAgNIADBFAiEAyR/1YWI5UicaZw7IqPuiY2Zn63uMQnnT1wL+NsqnHF8C\n"
    "IBi6vubyNXLUdgNrAsn0rmJM+cvBnNAWn0ey2xgMYMWA\n"
    "-----END CERTIFICATE-----\n";

static const char key_server[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgF1etIhwzw47xceGK\n"
    "U8mwei9toq1Rk63gdLZxcvRySZqhRANCAARDsmKOjA8XkWrqN7J5fO3nLi15KNQu\n"
    "pe/1RvCKO6K6PGEF4CGC/TgH3HUVwHurfxuwE0zvt5zAto7lOpxHJQ+5\n"
    "-----END PRIVATE KEY-----\n";

static const char pem_client[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfjCCASSgAwIBAgIBBDAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAx3ZWZ0IHRl\n"
    "c3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkxFzAVBgNV\n"
    "BAMMDmNsaWVudC5leGFtcGxlMCowBQYDK2VwAyEA9gbYy3dxiGu5JGr95ObWmlEm\n"
    "CQuFYH8XSblG1RxxdgejgYswgYgwCQYDVR0TBAIwADALBgNVHQ8EBAMCB4AwEwYD\n"
    "VR0lBAwwCgYIKwYBBQUHAwIwGQYDVR0RBBIwEIIOY2xpZW50LmV4YW1wbGUwHQYD\n"
    "VR0OBBYEFJJe+5SDviMmeDjDq+OGKMtbDv9KMB8GA1UdIwQYMBaAFCM8eTmsnxhB\n"
    "ucHuU4PNu1KgEW7GMAoGCCqGSM49BAMCA0gAMEUCIErPRKPUMMQCWs2VCWABOrjf\n"
    "Zk2NSsp2PLYeWK1hOxifAiEAv1KzUpD9rAGVSzpKVlybQ8dKLjNYojLCJIZRfv2t\n"
    "MZQ=\n"
    "-----END CERTIFICATE-----\n";

static const char key_client[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIKjjLd6f/htOQn49ta5QYGA/XR1xfpzFLyfLAcCo1xW9\n"
    "-----END PRIVATE KEY-----\n";

static const char pem_rsa[] = "-----BEGIN CERTIFICATE-----\n"
                              "MIICmDCCAj6gAwIBAgIBBTAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAx3ZWZ0IHRl\n"
                              "c3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBUxEzARBgNV\n"
                              "BAMMCmRiLmV4YW1wbGUwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQDT\n"
                              "2VBxnNQIaEHSDIqq0REGC+n8rgBNAMO292RDnhZVcsmf3kAgU0YSfiq92+WBNGwz\n"
                              "xf+TQkAsIoovWwet35+gyX42ENGnGQHrn773dO8QoGCDKE0/Aq76VIFbI1Zm8y5d\n"
                              "dFavXXjabow8ZrSYco4bIfN2Nl+Ut2ZrbyGsO3zY5K+7Kb6wIBnANGjXG5io7Wz/\n"
                              "KVRKJ/3WxhXexu8VHGxU3jWrdH43Oex+dT0HjjjGcatR5+BzKWLX2EX2nqJ4cnjb\n"
                              "jpx3wYmJete9KeoMNwP9a54qB/Kznhp7ghFl3coef6ivRrZHRrkCSIi93FpynY4L\n"
                              "lo7pZcbdjYN6BzFHLoxFAgMBAAGjga8wgawwCQYDVR0TBAIwADALBgNVHQ8EBAMC\n"
                              "B4AwEwYDVR0lBAwwCgYIKwYBBQUHAwEwPQYDVR0RBDYwNIIKZGIuZXhhbXBsZYIO\n"
                              "Ki53aWxkLmV4YW1wbGWHBAoBAgOHECABDbgAAAAAAAAAAAAAAAEwHQYDVR0OBBYE\n"
                              "FIGYolYaIg9nptM2YelcrFUbobKDMB8GA1UdIwQYMBaAFCM8eTmsnxhBucHuU4PN\n"
                              "u1KgEW7GMAoGCCqGSM49BAMCA0gAMEUCIQCfhk6DQXA3kkQC/Man1NbN8xlJphC0\n"
                              "ds+FVoOcSngHNwIgDUYVI0MIILoYukOdRMOzqczrpRVcfwfaZ2ptKCQxOZw=\n"
                              "-----END CERTIFICATE-----\n";

static const char key_rsa[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQDT2VBxnNQIaEHS\n"
                              "DIqq0REGC+n8rgBNAMO292RDnhZVcsmf3kAgU0YSfiq92+WBNGwzxf+TQkAsIoov\n"
                              "Wwet35+gyX42ENGnGQHrn773dO8QoGCDKE0/Aq76VIFbI1Zm8y5ddFavXXjabow8\n"
                              "ZrSYco4bIfN2Nl+Ut2ZrbyGsO3zY5K+7Kb6wIBnANGjXG5io7Wz/KVRKJ/3WxhXe\n"
                              "xu8VHGxU3jWrdH43Oex+dT0HjjjGcatR5+BzKWLX2EX2nqJ4cnjbjpx3wYmJete9\n"
                              "KeoMNwP9a54qB/Kznhp7ghFl3coef6ivRrZHRrkCSIi93FpynY4Llo7pZcbdjYN6\n"
                              "BzFHLoxFAgMBAAECgf8yV0bxDdNU1sbNTdhQabMh512ILdDke3SxMG3No5irCsaJ\n"
                              "YXGGPO4/IWaxYbpSeaKSAFA7LgMRzyNccsU1tsNinH7hWh3NF07dhEMHipdEhte9\n"
                              "qFYIIxscC/ixL4nYl5uXmY2qc7Zu3Ct22Zu7SNLRSmq61zDfULWF0g1ZCsnKwB5S\n"
                              "ucKLJwbxxBcGaAgcabTokSwIE9jPgK9jDwFCILSUaDwwbEoQOvKecYGxkmXs4hnA\n"
                              "99GjE1ZU8l56MBzB6jpvPxoDbGDns7PJMrePJDxzAjqWxtAgxBoBvdT+aDRNgZUN\n"
                              "oJsyertFyhfo/HNfi7XhK777z5ZlpbW+osv77ssCgYEA620CYF0jNrLLrEfdDNWd\n"
                              "0uszMyMo0lUHqH8uHYGb8NddeRj+f+TH5a0eRHzNBzEiYAM46gcSGAcRJQAsocks\n"
                              "c/w52inr7YEdrMnVvjhAddzq2DtHpf8yFOuTSTEkstPiEMiLZUgShOFjTdNdaz8X\n"
                              "Dzebq0yli8b7z6usTLVVdJcCgYEA5lzWXH1wUMKIJ1iNj/XpRI+nPMrExCzPR0M3\n"
                              "yIcFMay47I+w/8gxdCorqLXoyRdIK97gdDoJX4uMxWcgRD7wgw0GwTXh/Nehcz4X\n"
                              "10hIxo5KBKUVk/HPWfszfkXz37Oi/KYGZKwU8SOc2f0ZHsjupbe5IhXZLkovD3BR\n"
                              "mbgolYMCgYEAqz8c5ml5LtV5j3SqlyZfacfJ812U2QIe0vLH4ZCglNyjUm3a2b7Z\n"
                              "pPh7Nsgs/xk/buWJJbpE8BNb5jUtQfWqjyeeEVJDGfy8UC50eqxCPzmV3fmo0VdC\n"
                              "37LH7QqBLk8vdpPZya9WQTANYtPndRZsOJZzdnQHSxhPnKy8ZQPWCDsCgYAq4g1l\n"
                              "mlRWNGB0Mp/ntLd/894GCxkmC9FqSrEPu1LUNHsYTod8lh/eqBsIhRSYmqTsxciy\n"
                              "2jr0dl32QYRYL/9F5h7jyMwQ7XM4qM53XRVvIP3Wb4TczZ7z+TdUwmDru90TezSl\n"
                              "eQNNAHwqeFs8x9rlLpZgKgEMBPNNxHLsUsP7UQKBgQDJ4DG8ocrKsIE8E2YF8oa8\n"
                              "nkjEzEIuUf0OpXQ5G2pk9xUr3MqHSGnI48U/TpvQho96D1+zq7RypBlumeq4LR89\n"
                              "7odVK5ZoZbhL7ohR7HAmr0swfC0kBqXCZS7jiWDBguhDqZeP2gPvsyxDwBiF8jme\n"
                              "OETrvO15tRbvB6n1rmle1g==\n"
                              "-----END PRIVATE KEY-----\n";

static const char pem_expired[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIByjCCAXGgAwIBAgIBBjAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAx3ZWZ0IHRl\n"
    "c3QgQ0EwHhcNMDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAwMDAwWjAVMRMwEQYDVQQD\n"
    "DApkYi5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEg655aUXPPQwi\n"
    "km/Wn/ESab/TzaAA6S/Fs1obFNAnNTrFWn/15kbeo6SRAs7YRy7zqWOYUD5q+woX\n"
    "OnDmXVKRyKOBrzCBrDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIHgDATBgNVHSUEDDAK\n"
    "BggrBgEFBQcDATA9BgNVHREENjA0ggpkYi5leGFtcGxlgg4qLndpbGQuZXhhbXBs\n"
    "ZYcECgECA4cQIAENuAAAAAAAAAAAAAAAATAdBgNVHQ4EFgQURcal8OLNm+4jxP+R\n"
    "jPrqMJbUaicwHwYDVR0jBBgwFoAUIzx5OayfGEG5we5Tg827UqARbsYwCgYIKoZI\n"
    "zj0EAwIDRwAwRAIgPqi209Y55w4zBUTUgTV4sepBoZ9cG6GtAPP7WZi1k9YCIBZb\n"
    "SDRiS9ukmCHxAEfFBg+p2pHFwb5NVyBqpsoClcF3\n"
    "-----END CERTIFICATE-----\n";

static const char key_expired[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUiGT4LGbssQHgzG8\n"
    "AbEPS5FNREkvlajB5nVnekICg3mhRANCAASDrnlpRc89DCKSb9af8RJpv9PNoADp\n"
    "L8WzWhsU0Cc1OsVaf/XmRt6jpJECzthHLvOpY5hQPmr7Chc6cOZdUpHI\n"
    "-----END PRIVATE KEY-----\n";

static const char pem_future[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIB0DCCAXWgAwIBAgIBBzAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAx3ZWZ0IHRl\n"
    "c3QgQ0EwIhgPMjEwMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFTETMBEG\n"
    "A1UEAwwKZGIuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHbLYeU1\n"
    "XzlBaX0p8cGYC9sSm9twlQRD9F1O1FDbw1llc8QpKBVXDsRPMmvqe3KrMxx+RD6u\n"
    "W4rHXFpYRP7hRUyjga8wgawwCQYDVR0TBAIwADALBgNVHQ8EBAMCB4AwEwYDVR0l\n"
    "BAwwCgYIKwYBBQUHAwEwPQYDVR0RBDYwNIIKZGIuZXhhbXBsZYIOKi53aWxkLmV4\n"
    "YW1wbGWHBAoBAgOHECABDbgAAAAAAAAAAAAAAAEwHQYDVR0OBBYEFO5biy9zOAK0\n"
    "uw8lNJexlS5diMCKMB8GA1UdIwQYMBaAFCM8eTmsnxhBucHuU4PNu1KgEW7GMAoG\n"
    "CCqGSM49BAMCA0kAMEYCIQDP4EL86DrLoUuEmOQwvvJh3GULhASDlIB2P7j4xqxi\n"
    "DgIhANsSrVjAFGDuGA4NT0HmDouC0l2w/UmpAtxEb/+SzDnL\n"
    "-----END CERTIFICATE-----\n";

static const char key_future[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguj8MZ3ugrkvNDajY\n"
    "Bu19u9nCPZZ+SYANENTl+2W2SrChRANCAAR2y2HlNV85QWl9KfHBmAvbEpvbcJUE\n"
    "Q/RdTtRQ28NZZXPEKSgVVw7ETzJr6ntyqzMcfkQ+rluKx1xaWET+4UVM\n"
    "-----END PRIVATE KEY-----\n";

static const char pem_foreign[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIByzCCAXGgAwIBAgIBCjAKBggqhkjOPQQDAjAVMRMwEQYDVQQDDAphbm90aGVy\n"
    "IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYDVQQD\n"
    "DApkYi5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbAXy8ttFx4Ew\n"
    "uOvtHuQL3lJNUNgwL12s7kssofpj4eQ1wFXNXdeNxcaNf649NQljqnRLzXN/9wZv\n"
    "WICmPWkM1KOBrzCBrDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIHgDATBgNVHSUEDDAK\n"
    "BggrBgEFBQcDATA9BgNVHREENjA0ggpkYi5leGFtcGxlgg4qLndpbGQuZXhhbXBs\n"
    "ZYcECgECA4cQIAENuAAAAAAAAAAAAAAAATAdBgNVHQ4EFgQUiNkiQrSLS7mFXWNp\n"
    "K2yCioempFswHwYDVR0jBBgwFoAU3pM82HrY7tI5kFaRMXzaV+cOZSgwCgYIKoZI\n"
    "zj0EAwIDSAAwRQIgL0a7OMZE7OhVkkXvpqcGT7xN9Kwm7aiv0KKiToDROPACIQDz\n"
    "EExFMx920EtIN2a6I3NXDMiZjxYLWds9NQ5s4wB8ww==\n"
    "-----END CERTIFICATE-----\n";

static const char key_foreign[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPCGBiUMpfASVCNBS\n"
    "O/+Yjo9oD189NJGgZa0DLx/1tiqhRANCAARsBfLy20XHgTC46+0e5AveUk1Q2DAv\n"
    "XazuSyyh+mPh5DXAVc1d143Fxo1/rj01CWOqdEvNc3/3Bm9YgKY9aQzU\n"
    "-----END PRIVATE KEY-----\n";

static const char pem_chain[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIIB1jCCAX2gAwIBAgIBCTAKBggqhkjOPQQDAjAhMR8wHQYDVQQDDBZ3ZWZ0IHRl\n"
                                "c3QgaW50ZXJtZWRpYXRlMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAw\n"
                                "WjAVMRMwEQYDVQQDDApkYi5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
                                "QgAEdMtVW/O6Ct4Gj5iO1Ss+PjLXOWAzneFozP/BMZ2KCLeK6bAa80k6fueIdJOe\n"
                                "khd1Yrt63MVYtY0tSaVJaYCcsKOBrzCBrDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIH\n"
                                "gDATBgNVHSUEDDAKBggrBgEFBQcDATA9BgNVHREENjA0ggpkYi5leGFtcGxlgg4q\n"
                                "LndpbGQuZXhhbXBsZYcECgECA4cQIAENuAAAAAAAAAAAAAAAATAdBgNVHQ4EFgQU\n"
                                "Nwcb2pdo7oYJFrsesiX5hdvnDAIwHwYDVR0jBBgwFoAU0JWxzdOSdWURTT7IqHWz\n"
                                "4fzLpTQwCgYIKoZIzj0EAwIDRwAwRAIgW4xGneCifVU4LlVOFurvj9jKXCys0BzF\n"
                                "JfJ37PK6SsACIGlnTaf8BigrcUdwj8+oVCX+PL/oAb9VoXgSxSC9DaCE\n"
                                "-----END CERTIFICATE-----\n"
                                "-----BEGIN CERTIFICATE-----\n"
                                "MIIBjTCCATKgAwIBAgIBCDAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAx3ZWZ0IHRl\n"
                                "c3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMCExHzAdBgNV\n"
                                "BAMMFndlZnQgdGVzdCBpbnRlcm1lZGlhdGUwWTATBgcqhkjOPQIBBggqhkjOPQMB\n"
                                "BwNCAASFz9KmBWVFkkw+VpBoVObY2/BFmz0z+gn0F+aUmb+QYTMYBdy9exRhL0fL\n"
                                "0psYX3hWWeCXqrm3TuTTJ4fr/klPo2MwYTAPBgNVHRMBAf8EBTADAQH/MA4GA1Ud\n"
                                "DwEB/wQEAwIBBjAdBgNVHQ4EFgQU0JWxzdOSdWURTT7IqHWz4fzLpTQwHwYDVR0j\n"
                                "BBgwFoAUIzx5OayfGEG5we5Tg827UqARbsYwCgYIKoZIzj0EAwIDSQAwRgIhAIIn\n"
                                "40aS5MyBMCm3PUy+RbhrUpxtgaZne8H23L5VXHISAiEA5mecEQmLtbdYHG/TE72Y\n"
                                "KclKTOR2/ScXun4BAjvgS5c=\n"
                                "-----END CERTIFICATE-----\n";

static const char key_deep[] = "-----BEGIN PRIVATE KEY-----\n"
                               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgo0iiBB1iVcrcZARB\n"
                               "SE2JM4aS4pP3iYQ12PtAfN/eZryhRANCAAR0y1Vb87oK3gaPmI7VKz4+Mtc5YDOd\n"
                               "4WjM/8ExnYoIt4rpsBrzSTp+54h0k56SF3Viu3rcxVi1jS1JpUlpgJyw\n"
                               "-----END PRIVATE KEY-----\n";

static const char pem_namer[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIIBdzCCARygAwIBAgIUUfrcYPnTDX/cQget19VNwUxTyL8wCgYIKoZIzj0EAwIw\n"
                                "GDEWMBQGA1UEAwwNd2VmdCBuYW1lcyBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIw\n"
                                "MDEwMTAwMDAwMFowGDEWMBQGA1UEAwwNd2VmdCBuYW1lcyBDQTBZMBMGByqGSM49\n"
                                "AgEGCCqGSM49AwEHA0IABLUATKSo9xnxI3Bh63CmQBZN5C4d15bDpNKBU3DcumV0\n"
                                "Bg7j5Jwm5bL2/yKgGP8zRsAeWDJBvAJM4SIAx6W/seijQjBAMA8GA1UdEwEB/wQF\n"
                                "MAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQWBBS1z6j+uJD2fnWdSVfUDtQl\n"
                                "huPexDAKBggqhkjOPQQDAgNJADBGAiEA3nIR+pEwp3aAV0aIlSKi+lV1f2ihG4Xk\n"
                                "DbUIFFXjk+ICIQD3wswR0VtsTEzFGib03zKCYuDH1p9ED9+4jckolU5nGg==\n"
                                "-----END CERTIFICATE-----\n";

static const char pem_loose[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIIB/DCCAaGgAwIBAgIUJ6KNQmAVU6Z0U/Y7K/dq868/6y8wCgYIKoZIzj0EAwIw\n"
                                "GDEWMBQGA1UEAwwNd2VmdCBuYW1lcyBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIw\n"
                                "MDEwMTAwMDAwMFowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYI\n"
                                "KoZIzj0DAQcDQgAEQ7JijowPF5Fq6jeyeXzt5y4teSjULqXv9UbwijuiujxhBeAh\n"
                                "gv04B9x1FcB7q38bsBNM77ecwLaO5TqcRyUPuaOByjCBxzAJBgNVHRMEAjAAMAsG\n"
                                "A1UdDwQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATBYBgNVHREEUTBPggcqLjAu\n"
                                "MC4xggkxMjcuMC4wLjGCASqCAmwqgggqLioudGVzdIIGKi50ZXN0ghVkYi5leGFt\n"
                                "cGxlAC5ldmlsLnRlc3SCCWdvb2QudGVzdDAdBgNVHQ4EFgQUlVcDABW2vsx4HRJB\n"
                                "W3tgjdaCqEIwHwYDVR0jBBgwFoAUtc+o/riQ9n51nUlX1A7UJYbj3sQwCgYIKoZI\n"
                                "zj0EAwIDSQAwRgIhAIQuM9/6jh4I6bjfDJHLVpaE3PIMStDZKyUP/YC/qyuqAiEA\n"
                                "oNP8S2lXbC6V7apLB6/Jsqz8wLdJBsfOzpZRIwArj3U=\n"
                                "-----END CERTIFICATE-----\n";

static const char pem_common[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBnzCCAUWgAwIBAgIUUW8XiarZePHI7SgSj6861tUANpIwCgYIKoZIzj0EAwIw\n"
    "GDEWMBQGA1UEAwwNd2VmdCBuYW1lcyBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIw\n"
    "MDEwMTAwMDAwMFowFDESMBAGA1UEAwwJMTI3LjAuMC4xMFkwEwYHKoZIzj0CAQYI\n"
    "KoZIzj0DAQcDQgAEQ7JijowPF5Fq6jeyeXzt5y4teSjULqXv9UbwijuiujxhBeAh\n"
    "gv04B9x1FcB7q38bsBNM77ecwLaO5TqcRyUPuaNvMG0wCQYDVR0TBAIwADALBgNV\n"
    "HQ8EBAMCB4AwEwYDVR0lBAwwCgYIKwYBBQUHAwEwHQYDVR0OBBYEFJVXAwAVtr7M\n"
    "eB0SQVt7YI3WgqhCMB8GA1UdIwQYMBaAFLXPqP64kPZ+dZ1JV9QO1CWG497EMAoG\n"
    "CCqGSM49BAMCA0gAMEUCIQCLzqMkn2IYn0sq7gIpEmPw6W/FLag6SZahQWlCDP7G\n"
    "QQIgcaRrUkQYyLkESQmb4KDoLBhebEE7W6k0JxXSzpMkFIw=\n"
    "-----END CERTIFICATE-----\n";

static const char pem_pss[] = "-----BEGIN CERTIFICATE-----\n"
                              "MIICgzCCAiigAwIBAgIUZL4OzTwlPWOTjMLHKgxqEvnoxK8wCgYIKoZIzj0EAwIw\n"
                              "GDEWMBQGA1UEAwwNd2VmdCBuYW1lcyBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIw\n"
                              "MDEwMTAwMDAwMFowFTETMBEGA1UEAwwKZGIuZXhhbXBsZTCCASAwCwYJKoZIhvcN\n"
                              "AQEKA4IBDwAwggEKAoIBAQDKUfbo6O4QNPCgBbzWS2VfZFNwGxhu9+xeHIgUdc2O\n"
                              "4sUwwPefsag11T5ZdPkjGA4x8b8glK2NzUbRi2I7FI2Ljp1FurIhY+ZAWZqlNinY\n"
                              "0Fdu3oQ58zJnSlGAW+nrBKita1yz3rl/um77ZOoj29tLcX5FCcrU0UZa3E4heMSj\n"
                              "YsStwn+nefHAEbdhhr8JJ/QIEEvZfqt9ajltj989orVwyxSEuo9lP4MTz3sj7YX5\n"
                              "U7LTKCJTms29gy3mZFZQUP/HgQgWCXvrLyD76/Af4YaieFN8Wg2psnGoALxwbi9y\n"
                              "i6X3s55w9SLuXDM8Xjr489D214c/gYIqkXDAIkQ1qgsTAgMBAAGjgYcwgYQwCQYD\n"
                              "VR0TBAIwADALBgNVHQ8EBAMCB4AwEwYDVR0lBAwwCgYIKwYBBQUHAwEwFQYDVR0R\n"
                              "BA4wDIIKZGIuZXhhbXBsZTAdBgNVHQ4EFgQU5fDcvfHv9mJGhne+W9RKzcoKnTEw\n"
                              "HwYDVR0jBBgwFoAUtc+o/riQ9n51nUlX1A7UJYbj3sQwCgYIKoZIzj0EAwIDSQAw\n"
                              "RgIhAL2D/iI+Zn/9a6xfByxIbnMg9on0Rn88YudN+nzXpuJrAiEAkF5HIZo7zyPv\n"
                              "ng+M8A2FSavhZszuAzU7NTuVH4KxmKE=\n"
                              "-----END CERTIFICATE-----\n";

static const char key_pss[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIIEugIBADALBgkqhkiG9w0BAQoEggSmMIIEogIBAAKCAQEAylH26OjuEDTwoAW8\n"
                              "1ktlX2RTcBsYbvfsXhyIFHXNjuLFMMD3n7GoNdU+WXT5IxgOMfG/IJStjc1G0Yti\n"
                              "OxSNi46dRbqyIWPmQFmapTYp2NBXbt6EOfMyZ0pRgFvp6wSorWtcs965f7pu+2Tq\n"
                              "I9vbS3F+RQnK1NFGWtxOIXjEo2LErcJ/p3nxwBG3YYa/CSf0CBBL2X6rfWo5bY/f\n"
                              "PaK1cMsUhLqPZT+DE897I+2F+VOy0ygiU5rNvYMt5mRWUFD/x4EIFgl76y8g++vw\n"
                              "H+GGonhTfFoNqbJxqAC8cG4vcoul97OecPUi7lwzPF46+PPQ9teHP4GCKpFwwCJE\n"
                              "NaoLEwIDAQABAoIBAFSTFugeFwZnWv9J5rqeIe5Sfh6q9PfOY9yjiK8k350PZucO\n"
                              "g3UaSvrV/Y5fu5XUBHsUV5VDEZnpaeVGovWXjeP85fm0JaqXnDTiQCc4ER41WZdb\n"
                              "JWMkKrnK8274/TvlYq2757C5NkoSoTot4ULEMVPESciKY2O7Z/Grjm2nkmvJq6Kr\n"
                              "1F1U4JWmwQp7MzotHokIkLqS0xzk3xuB2DbUgUOM9xlih4ymu3u0hnRSeyDtdNf9\n"
                              "7pzST9MnpbQbFWAOSJab7dkuOFs1klxsEM65n5lgXOYWWmcUt75JIAP/XqbMYZrU\n"
                              "COgxFWtAXtZwaeCpl0uGSDr1BKla+OzOpXlqsMECgYEA6QGw0wmVGRDkyaGKMg3J\n"
                              "XCxosuZXK+z9ALDrcy16L1Eop/C4UmSg2N4N59FfOiCmRy4owvxmmmhqNHook+hy\n"
                              "gWkY/BSXkRsRpb6URElZ9EJZvJi3QPCtasi/KrXFAgp2UZsbvOUdSlK/j1iLhcKi\n"
                              "Uvdl4Vn+rGE6cspQ6bx9DSsCgYEA3kkPel7J6qOrWjVjP6wDbBshZR1uwwiYnf1V\n"
                              "jsfc8f7CNTMl2bwfWui4ePaZEPHTwOO6krWS8m5VG2bE2NclUYHV7uDGtoIXABlJ\n"
                              "pKKp+ZWunzOYB8QhCKNecNOF1KbP6lQX3WUtDWHPJ8UH5LWOmuryOsw7aOueXLb9\n"
                              "ZoIlFbkCgYAzPkDyGKBms9VtFo669Vc8YzPfbFLtgSAfH8mYOf8uGs4zKPiQfjr1\n"
                              "ltg+DEjCEt4et2MVhsbV3HLG+bqk1LEiDsgE4E55Bhf6eJBI+EzFMDZmCLv8lzG8\n"
                              "U0vfi7w4964Pwmn2P/kSGGKylsmQcD6cunX4en9Mz9E335Ct5tslowKBgBZnDJ1L\n"
                              "olP4jNN5n/gR0QJ7NYFoVvpnCmKZ3p6WPAlToKUV85GfKRXTcIwYZlLT3ICLMwmI\n"
                              "LTgrsH4jfGFSRZuSV0pM8xn/wGutIMPr9O+Hi2LWI1NdC+s/88uxNcK50SiPsxwI\n"
                              "D2NS4Trj26jMN4Qbe7A7Vx166an0c1N6eFxZAoGAWZG9LmwrcMpFFx1nQgVR3++F\n"
                              "l3J7XMr4dxv8LlIxfJ4H403/eVo/ETY7IKlTx4bJN/h8OdaaKMoQj77g7+6x7LZt\n"
                              "YMqmIIk3IsgR8k3G3taYd8zc/lgcbVJ1fsD6tkZSHF3QVMQnYL0KFvan+iyWeom4\n"
                              "CGtT2Sz3YlEFUxNxpMk=\n"
                              "-----END PRIVATE KEY-----\n";

#endif
