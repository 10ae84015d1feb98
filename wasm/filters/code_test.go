package filters_test

import (
	"encoding/json"
	"testing"
)

// TestSourceCodeIsLeftAlone: an agent that writes code through the gateway must find it as it wrote it. Names that speak of
// secrets are all over honest programs; what is behind them there is an expression, not a secret.
func TestSourceCodeIsLeftAlone(t *testing.T) {
	f := load(t, "")
	for _, line := range []string{
		"const password = getPassword()",
		"const password = await prompt('Password: ');",
		"let token = process.env.GITHUB_TOKEN;",
		"token := os.Getenv(\"API_TOKEN\")",
		"password, err := readPassword(ctx, reader)",
		"secret = config[\"secret_name\"]",
		"secret = settings.SECRET_KEY",
		"api_key = self.api_key",
		"self.password = password",
		"this.token = token;",
		"passwd = input(\"new password? \")",
		"def login(user, password=None):",
		"if password == confirm_password:",
		"if (password === repeated) return;",
		"password: str = Field(..., min_length=12)",
		"func New(token string, secret []byte) *Client {",
		"secret_name = var.secret_name",
		"token = \"${var.token}\"",
		"password: ${DB_PASSWORD}",
		"PASSWORD=$(cat /run/secrets/db)",
		"export TOKEN=$CI_JOB_TOKEN",
		"password: !vault |",
		"password: {{ .Values.db.password }}",
		"- name: password\n  valueFrom:\n    secretKeyRef:\n      name: db",
		"token = tokenizer.next()",
		"$password = $_POST['password'];",
		"@Value(\"${app.secret}\") String secret;",
		"var secret = new SecretClient(uri, credential);",
		"password = hash(password + salt)",
	} {
		b, err := json.Marshal(map[string]string{"content": line})
		if err != nil {
			t.Fatal(err)
		}
		if out, v := redact(t, f, string(b)); out != string(b) {
			t.Errorf("%q became %s (%v)", line, out, v.Labels)
		}
	}
}

// TestSecretsInSourceCodeAreFound: a value that stands there is none the better for it.
func TestSecretsInSourceCodeAreFound(t *testing.T) {
	f := load(t, "")
	for _, line := range []string{
		"const password = \"Tr0ub4dor&3horse\"",
		"password = 'Tr0ub4dor&3horse'",
		"PASSWORD=Tr0ub4dor3horse",
		"password: Tr0ub4dor3horse",
		"\"password\": \"Tr0ub4dor&3horse\"",
	} {
		b, err := json.Marshal(map[string]string{"content": line})
		if err != nil {
			t.Fatal(err)
		}
		if out, _ := redact(t, f, string(b)); out == string(b) {
			t.Errorf("%q passed", line)
		}
	}
}
