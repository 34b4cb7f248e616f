package config

// The variables of KES, under MinIO's names.
const (
	kesEndpoint = "MINIO_KMS_KES_ENDPOINT"
	kesAPIKey   = "MINIO_KMS_KES_API_KEY"
	kesCertFile = "MINIO_KMS_KES_CERT_FILE"
	kesKeyFile  = "MINIO_KMS_KES_KEY_FILE"
	kesKeyName  = "MINIO_KMS_KES_KEY_NAME"
)

// checkKES checks that the configuration of KES is complete and uses one way of
// authentication. As in MinIO, a variable counts as present even if it is
// empty.
func (in *input) checkKES() {
	present := false
	for _, name := range []string{kesEndpoint, kesAPIKey, kesCertFile, kesKeyFile, kesKeyName} {
		present = present || in.isSet(name)
	}
	if !present {
		in.report(kesEndpoint, "KES is not configured: set '%s', '%s' and '%s'", kesEndpoint, kesKeyName, kesAPIKey)
		in.wrong[kesKeyName] = true // the line above names it
		return
	}
	in.requireKES(kesEndpoint)
	in.requireKES(kesKeyName)

	certificate := in.isSet(kesCertFile) || in.isSet(kesKeyFile)
	switch {
	case in.isSet(kesAPIKey) && certificate:
		in.report(kesAPIKey, "invalid configuration for KES: '%s' and client certificate is present", in.shown(kesAPIKey))
	case in.isSet(kesAPIKey):
		in.requireKES(kesAPIKey)
	case certificate:
		in.requireKES(kesCertFile)
		in.requireKES(kesKeyFile)
	default:
		in.report(kesAPIKey, "incomplete configuration for KES: missing authentication method: set '%s', or '%s' and '%s'", kesAPIKey, kesCertFile, kesKeyFile)
	}
}

// requireKES reports a problem if name is absent or empty.
func (in *input) requireKES(name string) {
	switch {
	case !in.isSet(name):
		in.report(name, "incomplete configuration for KES: missing '%s'", name)
	case in.values[name].text == "":
		in.report(name, "incomplete configuration for KES: '%s' is empty", in.shown(name))
	}
}
