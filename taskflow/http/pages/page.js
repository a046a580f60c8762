// Starts Swagger UI, and gives it this service's CSRF token and the browser's color scheme.
"use strict";

const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

// In production the cookie's name has a prefix, to which browsers attach conditions.
function csrfToken() {
  return document.cookie.match(/(?:^|; )(?:__Host-)?csrf_token=([^;]+)/)?.[1];
}

function addCsrfToken(request) {
  const token = csrfToken();
  const isOwn = new URL(request.url, location.href).origin === location.origin;
  const method = request.method ?? "GET"; // the request for the document has no method
  if (token && isOwn && !SAFE_METHODS.includes(method.toUpperCase())) {
    request.headers["X-CSRF-Token"] ||= token; // the form of an operation has a field for it too
  }
  return request;
}

function followColorScheme(darkScheme) {
  document.documentElement.classList.toggle("dark-mode", darkScheme.matches);
}

const darkScheme = matchMedia("(prefers-color-scheme: dark)");
darkScheme.addEventListener("change", followColorScheme);
followColorScheme(darkScheme);

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  requestInterceptor: addCsrfToken,
  showExtensions: true,
  validatorUrl: null,
});
